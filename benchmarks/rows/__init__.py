"""What is asked, a row a file; each has a goal, a method, and `run`."""
