"""The machines that a plan can run on. Each target says what a kernel needs and how a plan is loaded and run."""
