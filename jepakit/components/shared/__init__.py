"""What components of several slots have in common."""
