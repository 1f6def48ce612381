"""The job engine and the steps of each kind of job."""
