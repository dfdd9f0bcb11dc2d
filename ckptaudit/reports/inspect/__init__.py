"""What `inspect` prints, one format a file."""
