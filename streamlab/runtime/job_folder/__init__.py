"""The folder that a job lives in, and the home of all of them: what is in it, who may trust it, when it goes."""
