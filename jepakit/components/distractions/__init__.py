"""The slot ``distraction``: changes of an env's frames that the task does not depend on; one kind a file."""
