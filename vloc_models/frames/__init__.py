"""Where frames come from: bags, folders, live messages, the synthetic world; and back to bags."""
