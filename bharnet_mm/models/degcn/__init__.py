"""DeGCN, the network of an expert: its layers, blocks and inference form."""
