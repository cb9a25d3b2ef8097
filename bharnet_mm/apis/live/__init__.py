"""Live recognition: a camera or stream goes in, predictions come out while it runs."""
