"""The auditor: walks whole chains and says yes, or where not. It shares no code with the writer beyond ``schemas``."""
