'use strict';
// The contract's receiver in Express, observed from around it.
//   node express_receiver.js express4|express5
// Prints one JSON line when it listens and one for each request that it has answered.

const express = require(process.argv[2]);
const { observe, listen, messagesToStderr } = require('./observing.js');

messagesToStderr();
const app = express();
app.use(observe);
app.use(express.json());

// From here to `listen`: "Verifying webhooks" of docs/contract.md, to the letter; a test compares.
// Node.js/Express example
const crypto = require('crypto');
app.post('/webhooks/sendcomms', (req, res) => {
const signature = req.headers['x-sendcomms-signature'];
const secret = 'whsec_your_secret_here';
const expectedSignature = 'sha256=' +
crypto.createHmac('sha256', secret)
.update(JSON.stringify(req.body))
.digest('hex');
if (signature !== expectedSignature) {
return res.status(401).json({ error: 'Invalid signature' });
}
// Process the webhook
const { event, data } = req.body;
console.log(`Received ${event} for ${data.to}`);
res.status(200).json({ received: true });
});

listen(app);
