"""What a run leaves behind: report, audit, files, checkpoint, metrics."""
