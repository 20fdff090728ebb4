"""All that knows Flower's internals (1.34): how messages travel, how nodes connect, what is let in."""
