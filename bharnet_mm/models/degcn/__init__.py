"""DeGCN, the expert backbone: its blocks and their inference form."""
