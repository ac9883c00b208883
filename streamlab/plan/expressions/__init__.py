"""What can be said about a user's pl.Expr without running it. The only place that reads its JSON form."""
