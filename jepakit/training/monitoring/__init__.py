"""What is measured between two rounds of updates, without changing what is trained: diagnostics and periodic evaluation."""
