import recon  # noqa: F401  # before numpy, which reads when it is imported how many threads it may use
