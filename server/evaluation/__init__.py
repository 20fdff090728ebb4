"""Federated evaluation: nodes send sums, the server adds them and bounds what one node can say."""
