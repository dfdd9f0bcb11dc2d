"""Pictures of checkpoints: nested modules as nested boxes, ties as edges, nothing invented."""
