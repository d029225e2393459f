"""Companies, workspaces, projects, plans and keys, as the operator makes and changes them: each action with its audit entry."""
