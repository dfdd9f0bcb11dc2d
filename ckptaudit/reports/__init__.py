"""What was found, told in one format a file. Nothing here opens a file or judges what it shows."""
