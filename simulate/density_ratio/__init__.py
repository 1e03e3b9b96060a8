"""density_ratio"""
