"""Stand-ins that are as strict as what they stand for, and tested to be."""
