"""Names of the columns that streamlab computes with, now and in earlier formats."""
