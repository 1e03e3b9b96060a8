"""best_of_n"""
