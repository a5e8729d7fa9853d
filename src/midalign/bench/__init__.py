"""What training and generation cost, beside stock TRL and lm-eval."""
