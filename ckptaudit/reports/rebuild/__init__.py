"""What `rebuild` prints, one format a file; both take the document of `ckptaudit.rebuild`."""
