"""The workshop: run folders that resume, the leaderboard and its protocol, reports, the verbs of the command line."""
