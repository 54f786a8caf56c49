"""The pages of the commands: their help, and what they print in the lab."""
