"""What happened: typed events and the bus that hands them out."""
