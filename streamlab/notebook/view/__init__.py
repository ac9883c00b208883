"""Views of jobs in the outputs of cells: live panels, figures, lists, and the copies that stay in saved notebooks."""
