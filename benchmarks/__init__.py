"""This project's load generator beside what a user would pick instead, on the same known server."""
