"""Recipes: from YAML to a validated `Recipe` that knows the place of every value."""

from __future__ import annotations

from jepakit.recipe.compose import Overrides
from jepakit.recipe.dump import dump
from jepakit.recipe.errors import Place, Problem, RecipeError
from jepakit.recipe.identity import recipe_id
from jepakit.recipe.load import AnyRecipe, load_recipe
from jepakit.recipe.schema import Jepa, Optimizer, Recipe, recipe_schema
from jepakit.recipe.shipped import shipped_recipes

__all__ = [
    "AnyRecipe",
    "Jepa",
    "Optimizer",
    "Overrides",
    "Place",
    "Problem",
    "Recipe",
    "RecipeError",
    "dump",
    "load_recipe",
    "recipe_id",
    "recipe_schema",
    "shipped_recipes",
]
