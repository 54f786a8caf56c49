"""A node under churn and faults for a long time; what must hold all the time."""
