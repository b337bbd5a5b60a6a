"""Identity, allocations, debit notes, invoices and payments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .buyer import NO_UUID, PAYMENT, PLATFORM, SESSION, Buyer, date, said

ALLOCATIONS = f"{PAYMENT}/allocations"
DECORATIONS = f"{PAYMENT}/demandDecorations"
ALLOCATION_KEYS = {
    "allocationId",
    "address",
    "paymentPlatform",
    "totalAmount",
    "spentAmount",
    "remainingAmount",
    "timestamp",
    "timeout",
    "createdTs",
    "updatedTs",
    "makeDeposit",
}


class IdentityContract:
    def test_the_key_belongs_to_an_identity(self, buyer: Buyer) -> None:
        answer = buyer.ask("GET", "/me")
        assert answer.headers["Content-Type"] == "application/json"
        status, me = said(answer)
        assert (status, me.keys(), me["role"]) == (200, {"identity", "name", "role"}, "manager")
        assert len(me["identity"]) == 42

    @pytest.mark.parametrize(
        ("header", "text"),
        [
            (None, "Missing application key"),
            ("Basic abc", "Missing application key"),
            ("Bearer nobody-has-it", "Invalid application key"),
        ],
    )
    def test_without_a_key_that_is_known_nothing_is_answered(
        self, buyer: Buyer, header: str | None, text: str
    ) -> None:
        answer = buyer.ask("GET", "/me", headers={"Authorization": header})
        assert (answer.status_code, answer.text) == (401, text)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

    def test_the_key_may_be_in_the_query(self, buyer: Buyer) -> None:
        key = str(buyer.session.headers["Authorization"]).removeprefix("Bearer ")
        assert buyer.ask("GET", "/me", headers={"Authorization": None}, authToken=key).status_code == 200

    def test_the_version_needs_no_key(self, buyer: Buyer) -> None:
        answer = buyer.ask("GET", "/version/get", headers={"Authorization": None})
        assert said(answer)[1].keys() == {"current", "pending"}

    def test_the_payment_networks_of_the_daemon(self, buyer: Buyer) -> None:
        status, answer = buyer.say("POST", "/_gsb/local/payment/GetDrivers", {"ignore_legacy_networks": True})
        networks = answer["Ok"]["erc20"]["networks"]
        assert status == 200
        assert networks.keys() == {"amoy", "holesky", "hoodi", "mainnet", "polygon", "sepolia"}
        assert networks["hoodi"] == {"default_token": "tGLM", "tokens": {"tGLM": "erc20-hoodi-tglm"}}

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/nothing"), ("POST", "/me"), ("PUT", "/market-api/v1/demands"), ("GET", f"{PAYMENT}/none")],
    )
    def test_what_is_not_there_is_not_found(self, buyer: Buyer, method: str, path: str) -> None:
        assert buyer.say(method, path) == (404, "")


class AllocationContract:
    def test_an_allocation_from_its_making_to_its_release(self, buyer: Buyer) -> None:
        body = {"totalAmount": "1.50", "paymentPlatform": PLATFORM, "timeout": "2099-01-01T00:00:00Z"}
        status, made = buyer.say("POST", ALLOCATIONS, body)
        assert (status, made.keys()) == (201, ALLOCATION_KEYS)
        assert (made["totalAmount"], made["spentAmount"], made["remainingAmount"]) == ("1.50", "0", "1.50")
        assert made["address"] == buyer.get("/me")["identity"]
        assert (made["paymentPlatform"], made["makeDeposit"]) == (PLATFORM, False)
        path = f"{ALLOCATIONS}/{made['allocationId']}"
        assert buyer.get(path) == made
        assert made in buyer.get(ALLOCATIONS)
        status, amended = buyer.say("PUT", path, {"totalAmount": "3"})
        assert (status, amended) == (200, {**made, "totalAmount": "3", "remainingAmount": "3"})
        assert buyer.say("PUT", path, {}) == (200, amended)
        text = "New allocation would be smaller than the already spent amount"
        assert buyer.say("PUT", path, {"totalAmount": "-1"}) == (400, text)
        answer = buyer.ask("DELETE", path)
        assert (answer.status_code, answer.text) == (200, "null")
        gone = f"Allocation {made['allocationId']} has been already released"
        assert buyer.say("DELETE", path) == (410, gone)
        assert buyer.say("GET", path) == (404, None)
        assert buyer.say("PUT", path, {"totalAmount": "3"}) == (404, None)
        assert buyer.say("GET", DECORATIONS, allocationIds=made["allocationId"]) == (404, None)
        assert made["allocationId"] not in [one["allocationId"] for one in buyer.get(ALLOCATIONS)]

    @pytest.mark.parametrize("allocation_id", [NO_UUID, "xyz"])
    def test_one_that_never_was_is_not_found(self, buyer: Buyer, allocation_id: str) -> None:
        for method, body in (("GET", {}), ("DELETE", {}), ("PUT", {"json": {"totalAmount": "1"}})):
            answer = buyer.session.request(
                method, f"{buyer.url}{ALLOCATIONS}/{allocation_id}", timeout=10, **body
            )
            assert said(answer) == (404, None)
        assert buyer.say("GET", DECORATIONS, allocationIds=allocation_id) == (404, None)

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"paymentPlatform": PLATFORM}, "missing field `totalAmount` at line 1 column 39"),
            ({"totalAmount": "abc"}, "invalid digit found in string at line 1 column 2"),
            (
                {"totalAmount": "1", "timeout": "tomorrow"},
                "input contains invalid characters at line 1 column",
            ),
        ],
    )
    def test_a_body_that_can_t_be_read_is_refused(self, buyer: Buyer, body: Any, text: str) -> None:
        answer = buyer.ask("POST", ALLOCATIONS, body)
        assert answer.status_code == 400
        assert answer.text.startswith(f"Json deserialize error: {text}")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

    def test_json_that_says_it_is_something_else_is_refused(self, buyer: Buyer) -> None:
        url = buyer.url + ALLOCATIONS
        alone = {"Connection": "close"}
        answer = buyer.session.post(url, data='{"totalAmount": "1"}', headers=alone, timeout=10)
        assert said(answer) == (400, "Content type error")
        headers = {"Content-Type": "application/json"}
        answer = buyer.session.post(url, data="{", headers=headers, timeout=10)
        text = "Json deserialize error: EOF while parsing an object at line 1 column 1"
        assert said(answer) == (400, text)

    def test_a_platform_that_is_none_is_refused(self, buyer: Buyer) -> None:
        for platform, why in (
            ("erc20-nonsense-tglm", "Validate network failed (2): Invalid network name: nonsense"),
            ("nonsense", "paymentPlatform must be of the form driver-network-token instead of nonsense"),
        ):
            answer = buyer.ask("POST", ALLOCATIONS, {"totalAmount": "1", "paymentPlatform": platform})
            assert answer.headers["Content-Type"] == "application/problem+json"
            status, problem = said(answer)
            assert (status, problem["detail"]) == (400, "Payment platform doesn't parse")
            assert (problem["parseError"], problem["requestedPaymentPlatform"]) == (why, platform)
            assert problem["type"] == f"{ALLOCATIONS}/bad-payment-platform"

    def test_a_time_that_has_passed_is_refused(self, buyer: Buyer) -> None:
        body = {"totalAmount": "1", "paymentPlatform": PLATFORM, "timeout": date(-10)}
        status, problem = buyer.say("POST", ALLOCATIONS, body)
        assert (status, problem["detail"]) == (400, "Requested allocation timeout is in the past")
        assert problem["instance"] == f"{ALLOCATIONS}/validation-error/timeout-passed"
        allocation = buyer.allocate()
        path = f"{ALLOCATIONS}/{allocation['allocationId']}"
        text = "New allocation timeout is in the past"
        assert buyer.say("PUT", path, {"totalAmount": "2", "timeout": date(-10)}) == (400, text)

    def test_another_s_address_is_refused(self, buyer: Buyer) -> None:
        body = {"totalAmount": "1", "paymentPlatform": PLATFORM, "address": f"0x{'12' * 20}"}
        status, problem = buyer.say("POST", ALLOCATIONS, body)
        assert (status, problem["detail"]) == (500, "Unhandled internal error")
        assert problem["internalError"].endswith("not found in active accounts")

    def test_an_allocation_adds_decorations_to_a_demand(self, buyer: Buyer) -> None:
        allocation = buyer.allocate()
        key = f"golem.com.payment.platform.{PLATFORM}.address"
        wanted = buyer.get(DECORATIONS, allocationIds=allocation["allocationId"])
        assert wanted == {
            "properties": [
                {"key": key, "value": allocation["address"]},
                {"key": "golem.com.payment.protocol.version", "value": "3"},
            ],
            "constraints": [f"({key}=*)", "(golem.com.payment.protocol.version>1)"],
        }
        assert buyer.say("GET", DECORATIONS) == (
            400,
            "Query deserialize error: missing field `allocationIds`",
        )

    def test_two_of_them_have_a_comma_between_them_as_it_is(self, buyer: Buyer) -> None:
        ids = [buyer.allocate()["allocationId"] for _ in range(2)]
        key = f"golem.com.payment.platform.{PLATFORM}.address"
        answer = buyer.ask("GET", f"{DECORATIONS}?allocationIds={','.join(ids)}")
        assert said(answer)[1]["constraints"][0] == f"(|\n  ({key}=*)\n  ({key}=*)\n)"
        status, text = buyer.say("GET", DECORATIONS, allocationIds=",".join(ids))
        assert (status, text.endswith("expected a borrowed string")) == (400, True)


class DocumentContract:
    def test_documents_of_a_provider_and_their_acceptance(self, buyer: Buyer) -> None:
        begun = date()
        agreement_id, activity_id = buyer.hire()
        buyer.terminate(agreement_id)
        invoice = buyer.invoice(agreement_id)
        (note,) = (one for one in buyer.get(f"{PAYMENT}/debitNotes") if one["activityId"] == activity_id)
        self._check_documents(buyer, note, invoice)
        (event,) = self._events(buyer, "debitNoteEvents", begun, "debitNoteId", note["debitNoteId"])
        assert event["eventType"] == "DebitNoteReceivedEvent"
        (event,) = self._events(buyer, "invoiceEvents", begun, "invoiceId", invoice["invoiceId"])
        assert (event["eventType"], event.keys()) == (
            "InvoiceReceivedEvent",
            {"invoiceId", "eventDate", "eventType"},
        )
        amount = Decimal(note["totalAmountDue"])
        assert Decimal(invoice["amount"]) == amount > 0

        allocation = buyer.allocate("1")
        path = f"{ALLOCATIONS}/{allocation['allocationId']}"
        accept = {"totalAmountAccepted": note["totalAmountDue"], "allocationId": allocation["allocationId"]}
        note_path = f"{PAYMENT}/debitNotes/{note['debitNoteId']}"
        self._check_refusals(buyer, note_path, accept)
        assert buyer.say("POST", f"{note_path}/accept", accept, timeout=5) == (200, None)
        left = buyer.get(path)
        assert Decimal(left["spentAmount"]) == amount
        assert Decimal(left["remainingAmount"]) == 1 - amount
        assert Decimal(left["totalAmount"]) == 1
        assert buyer.say("POST", f"{note_path}/accept", accept, timeout=5) == (200, None)
        assert buyer.get(note_path)["status"] == "ACCEPTED"
        reject = {"rejectionReason": "BAD_SERVICE", "totalAmountAccepted": "0"}
        assert buyer.say("POST", f"{note_path}/reject", reject) == (501, None)

        invoice_path = f"{PAYMENT}/invoices/{invoice['invoiceId']}"
        accept["totalAmountAccepted"] = invoice["amount"]
        self._check_refusals(buyer, invoice_path, accept)
        bad = {**reject, "rejectionReason": "NONSENSE"}
        status, text = buyer.say("POST", f"{invoice_path}/reject", bad)
        assert (status, text.startswith("Json deserialize error: unknown variant `NONSENSE`")) == (400, True)
        assert buyer.say("POST", f"{invoice_path}/accept", accept, timeout=5) == (200, None)
        assert buyer.say("POST", f"{invoice_path}/accept", accept, timeout=5) == (200, None)
        assert buyer.say("POST", f"{invoice_path}/reject", reject) == (400, "Invoice accepted")
        assert buyer.get(invoice_path) == {**invoice, "status": "ACCEPTED"}
        # What was accepted by the note is not taken a second time.
        assert buyer.get(path) == left
        assert buyer.get(f"{invoice_path}/payments") == []
        kinds = {"X-Requestor-Events": "RECEIVED,ACCEPTED"}
        found = self._events(buyer, "invoiceEvents", begun, "invoiceId", invoice["invoiceId"], kinds)
        assert [one["eventType"] for one in found] == ["InvoiceReceivedEvent", "InvoiceAcceptedEvent"]
        assert buyer.get(f"{PAYMENT}/payments", timeout=0) == []

    def _events(
        self,
        buyer: Buyer,
        name: str,
        begun: str,
        key: str,
        document_id: str,
        headers: dict[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        query = {"afterTimestamp": begun, "timeout": 5, "appSessionId": SESSION}
        status, events = said(buyer.ask("GET", f"{PAYMENT}/{name}", headers=headers, **query))
        assert status == 200
        return [event for event in events if event[key] == document_id]

    def _check_documents(self, buyer: Buyer, note: dict[str, Any], invoice: dict[str, Any]) -> None:
        common = {
            "issuerId",
            "recipientId",
            "payeeAddr",
            "payerAddr",
            "paymentPlatform",
            "timestamp",
            "agreementId",
            "status",
        }
        own = {"debitNoteId", "activityId", "totalAmountDue", "usageCounterVector"}
        assert note.keys() == common | own
        assert invoice.keys() == common | {"invoiceId", "activityIds", "amount", "paymentDueDate"}
        assert {note["status"], invoice["status"]} == {"RECEIVED"}
        assert invoice["activityIds"] == [note["activityId"]]
        assert len(note["usageCounterVector"]) == 2
        assert buyer.get(f"{PAYMENT}/debitNotes/{note['debitNoteId']}") == note

    def _check_refusals(self, buyer: Buyer, path: str, accept: dict[str, Any]) -> None:
        """An amount, an allocation or a body that is wrong."""
        small = buyer.allocate("0.00000001")["allocationId"]
        amount = accept["totalAmountAccepted"]
        funds = f"Not enough funds. Allocated: 0.00000001 Needed: {amount}"
        is_note = "debitNotes" in path
        missing = "Json deserialize error: missing field `totalAmountAccepted` at line 1 column 2"
        for body, text in (
            ({**accept, "totalAmountAccepted": "99"}, "Invalid amount accepted"),
            ({**accept, "allocationId": NO_UUID}, f"Allocation {NO_UUID} not found"),
            ({**accept, "allocationId": "xyz"}, "Allocation xyz not found"),
            *([({**accept, "allocationId": small}, funds)] if is_note else []),
            ({}, missing),
        ):
            assert buyer.say("POST", f"{path}/accept", body) == (400, text)

    def test_an_invoice_that_is_rejected(self, buyer: Buyer) -> None:
        agreement_id, _ = buyer.hire()
        buyer.terminate(agreement_id)
        path = f"{PAYMENT}/invoices/{buyer.invoice(agreement_id)['invoiceId']}"
        reject = {"rejectionReason": "INCORRECT_AMOUNT", "totalAmountAccepted": "0", "message": "too much"}
        for _ in range(2):
            assert buyer.say("POST", f"{path}/reject", reject, timeout=5) == (200, None)
            assert buyer.get(path)["status"] == "REJECTED"
        # The daemon lets the requestor change its mind.
        accept = {
            "totalAmountAccepted": buyer.get(path)["amount"],
            "allocationId": buyer.allocate()["allocationId"],
        }
        assert buyer.say("POST", f"{path}/accept", accept, timeout=5) == (200, None)
        assert buyer.get(path)["status"] == "ACCEPTED"

    def test_when_payments_are_sent(self, buyer: Buyer) -> None:
        cycle = {"platform": PLATFORM, "intervalSec": 10, "extraPayTimeSec": 10}
        status, answer = buyer.say("POST", f"{PAYMENT}/batchCycle", cycle)
        assert (status, answer["Ok"]["platform"]) == (200, PLATFORM)
        assert answer["Ok"]["interval"] == {"secs": 10, "nanos": 0}
        status, answer = buyer.say("POST", f"{PAYMENT}/batchCycle", {**cycle, "intervalSec": 1})
        assert status == 200
        text = "Interval must be greater than 5 seconds (at least 5 minutes suggested)"
        assert answer["Err"]["ProcessBatchCycleError"].endswith(text)
        status, answer = buyer.say("POST", f"{PAYMENT}/batchCycle/{PLATFORM}/now", {})
        assert (status, answer.keys()) == (200, {"resolve_time_ms", "send_time_ms"})

    def test_the_latest_documents_alone_can_be_asked_for(self, buyer: Buyer) -> None:
        for name in ("debitNotes", "invoices"):
            assert buyer.get(f"{PAYMENT}/{name}", afterTimestamp=date(60)) == []
            assert len(buyer.get(f"{PAYMENT}/{name}", maxItems=1)) <= 1

    @pytest.mark.parametrize("name", ["debitNotes", "invoices"])
    def test_a_document_that_never_was_is_not_found(self, buyer: Buyer, name: str) -> None:
        body = {"totalAmountAccepted": "1", "allocationId": NO_UUID}
        for document_id in (NO_UUID, "xyz"):
            assert buyer.say("GET", f"{PAYMENT}/{name}/{document_id}") == (404, None)
        assert buyer.say("POST", f"{PAYMENT}/{name}/{NO_UUID}/accept", body) == (404, None)

    @pytest.mark.parametrize("name", ["debitNoteEvents", "invoiceEvents"])
    def test_events_that_do_not_come_are_waited_for(self, buyer: Buyer, name: str) -> None:
        path, query = f"{PAYMENT}/{name}", {"timeout": 0.1, "appSessionId": "another"}
        assert buyer.get(path, **query, afterTimestamp=date()) == []
        text = "Query deserialize error: input contains invalid characters"
        assert buyer.say("GET", path, **query, afterTimestamp="yesterday") == (400, text)
