"""Where a recipe's time goes, measured on this machine."""
