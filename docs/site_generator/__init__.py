"""What the documentation site adds to the pages of docs/ while it is built."""
