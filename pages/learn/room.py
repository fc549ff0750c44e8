"""A room for a class: a code to join with, the step that everybody follows, and the answers as they arrive."""

from steering.ui.learn import classroom

classroom.teach()
