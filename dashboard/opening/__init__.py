"""Opening one's own: what was recognised in uploaded files, shown for correction, and made into a workspace."""
