"""What Tiller costs and what it saves: `make bench` writes RESULTS.md."""

import os

# The peers draw progress bars; tqdm reads this when it is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
