"""Work in the background: jobs with progress and cancel, runs that can be resumed, and the data folder."""
