"""JSON for programs: simulated labelers, `collect`, and the pages' scripts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.web.routes.public import authenticate

router = APIRouter(prefix='/api')


class Login(BaseModel):
  name: str = Field(max_length=64)
  password: str = Field(max_length=security.MAX_PASSWORD)


class Token(BaseModel):
  """To be sent as `Authorization: Bearer TOKEN`; it lasts for `seconds`."""

  token: str
  seconds: int


@router.post('/login')
def login(request: Request, body: Login) -> Token:
  labeler = authenticate(request, body.name, body.password)
  signer: security.Signer = request.app.state.signer
  return Token(
    token=signer.sign(labeler.id, labeler.generation), seconds=signer.seconds
  )
