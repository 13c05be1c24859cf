"""The target of compiled C: every plan is printed as C and built by the machine's own compiler."""
