"""What several pages share: loaded objects, the visitor's state, examples, jobs in progress, the frame."""
