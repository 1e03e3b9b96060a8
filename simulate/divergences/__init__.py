"""divergences"""
