"""What nobody would write, given to everything that reads what others have written."""
