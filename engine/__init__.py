"""What thinks: facts, inference, diagnosis, prescription, verification, reports, command line."""
