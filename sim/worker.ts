/** A process of a campaign: runs the seeds that it is given, and asks for more by what it answers. */
import { campaign, type Order } from "./campaign.ts";

process.on("message", (order: Order) => process.send?.(campaign(order)));
