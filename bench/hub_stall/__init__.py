"""What a run pays for pushing while it trains: step times beside a Hub that answers, one that hangs, and none."""
