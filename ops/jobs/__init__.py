"""What is done daily or weekly: one module a job, the list of them in ``registry``, and ``scheduler``, which runs them."""
