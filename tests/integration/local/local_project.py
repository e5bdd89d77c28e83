"""A template and handlers of its own for the local stack, and helpers for its queues."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

from local.aws import aws_client
from support.slowness import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.functions import Context
    from local.stack import LocalStack

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: { Type: String, Default: hello }
  Concurrency: { Type: Number, Default: 2 }
Globals:
  Function: { CodeUri: functions/, Runtime: python3.13, Timeout: 7 }
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: { Version: "2012-10-17", Statement: [] }
  Api: { Type: AWS::Serverless::HttpApi }
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 1
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2 }
  Dead: { Type: AWS::SQS::Queue }
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
  WebFunction:
    Type: AWS::Serverless::Function
    Properties:
      Role: !GetAtt Role.Arn
      Handler: web.handler.lambda_handler
      Environment:
        Variables:
          GREETING: !Ref Greeting
          CONCURRENCY: !Ref Concurrency
          QUEUE_URL: !Ref Queue
          TABLE: !Ref Things
          MACHINE: !Ref Machine
          ABSENT: !Ref AWS::NoValue
      Events:
        Any: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: ANY, Path: "/{proxy+}" } }
  WorkFunction:
    Type: AWS::Serverless::Function
    Properties:
      Role: !GetAtt Role.Arn
      Handler: work.handler.lambda_handler
      Events:
        Messages:
          Type: SQS
          Properties:
            Queue: !GetAtt Queue.Arn
            BatchSize: 5
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: !Ref Concurrency }
  TaskFunction:
    Type: AWS::Serverless::Function
    Properties: { Handler: task.handler.lambda_handler, Role: !GetAtt Role.Arn }
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.yaml
      DefinitionSubstitutions: { TaskArn: !GetAtt TaskFunction.Arn, DeadUrl: !Ref Dead }
      Role: !GetAtt Role.Arn
"""

MACHINE = """
StartAt: Wait
States:
  Wait: { Type: Wait, SecondsPath: $.seconds, Next: Task }
  Task:
    Type: Task
    Resource: ${TaskArn}
    Retry:
      - { ErrorEquals: [UnavailableError], IntervalSeconds: 1, MaxAttempts: 2, BackoffRate: 1 }
    Catch:
      - { ErrorEquals: [States.ALL], ResultPath: $.error, Next: Dead }
    End: true
  Dead:
    Type: Task
    Resource: arn:aws:states:::sqs:sendMessage
    Parameters:
      QueueUrl: ${DeadUrl}
      MessageBody: { "error.$": $.error.Error, "id.$": $.id }
    End: true
"""

SECONDS = 20
"""The time limit of a wait on an idle machine."""


class Functions:
    """Handlers that do as a test sets, and keep their events."""

    def __init__(self) -> None:
        self.environments: dict[str, Mapping[str, str]] = {}
        self.does: dict[str, Callable[[Any, Context], Any]] = {}
        self.given: dict[str, list[Any]] = defaultdict(list)
        self._changed = threading.Condition()

    def make(self, name: str, environment: Mapping[str, str]) -> Callable[[Any, Context], Any]:
        function = name.partition(".")[0]
        self.environments[function] = environment

        def handler(event: Any, context: Context) -> Any:
            with self._changed:
                self.given[function].append(event)
                self._changed.notify_all()
            return self.does[function](event, context) if function in self.does else None

        return handler

    def wait(self, function: str, condition: Callable[[list[Any]], bool]) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.given[function]), seconds(SECONDS))
            return list(self.given[function])


@cache
def client(service: str, endpoint: str) -> Any:
    return aws_client(service, endpoint)


def sqs(stack: LocalStack) -> Any:
    return client("sqs", stack.outputs["AwsEndpointUrl"])


def states(stack: LocalStack) -> Any:
    return client("stepfunctions", stack.outputs["AwsEndpointUrl"])


def send(stack: LocalStack, *bodies: str) -> None:
    sqs(stack).send_message_batch(
        QueueUrl=stack.outputs["QueueUrl"],
        Entries=[{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)],
    )


def bodies(events: list[Any]) -> list[str]:
    return [record["body"] for event in events for record in event["Records"]]


def dead_messages(stack: LocalStack, number: int) -> list[str]:
    """Take that many messages out of the dead-letter queue, then stop."""
    found: list[str] = []
    deadline = time.monotonic() + seconds(SECONDS)
    while len(found) < number and time.monotonic() < deadline:
        answer = sqs(stack).receive_message(
            QueueUrl=stack.outputs["DeadUrl"], MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        for message in answer.get("Messages", []):
            found.append(message["Body"])
            sqs(stack).delete_message(
                QueueUrl=stack.outputs["DeadUrl"], ReceiptHandle=message["ReceiptHandle"]
            )
    return found


def execute(stack: LocalStack, name: str, **state: Any) -> str:
    started = states(stack).start_execution(
        stateMachineArn=stack.outputs["MachineArn"], name=name, input=json.dumps(state)
    )
    return str(started["executionArn"])
