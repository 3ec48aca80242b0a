"""The pages of admins."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from instructgpt_jax.labeling.web import pages

router = APIRouter(include_in_schema=False)


@router.get('/admin')
def admin_page(request: Request) -> Response:
  return pages.page(request, 'admin.html')
